# Nomad, for the workload identity of the job `${fleet}-autoscaler`: it reads jobs and sets the counts of groups that have bounds, for
# which it gives up a deployment of its own that waits for room. It promotes and registers, stops and logs into nothing, and sees no other namespace. A namespace's jobs share this right, so give a fleet its own.

namespace "${namespace}" {
  capabilities = ["read-job", "scale-job", "fail-deployment"]
}
