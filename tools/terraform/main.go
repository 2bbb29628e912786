// A stand-in for a Terraform provider: it knows the schema and does nothing.
//
// `terraform validate` and `terraform test` with mock_provider ask a provider for its schema and for nothing else. This program takes
// one from tests/terraform/schemas/, so that both run where no registry of providers can be reached. It configures, reads and changes
// nothing: whoever plans or applies with it is told so.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

type attribute struct {
	Type      json.RawMessage
	Required  bool
	Computed  bool
	WriteOnly bool `json:"write_only"`
}

type block struct {
	Attributes map[string]attribute
	Blocks     map[string]nested
}

type nested struct {
	block
	Nesting  string
	Min, Max int64
}

type document struct {
	Provider  block
	Resources map[string]block
}

// What is not here is never asked for by validate and test.
type standIn struct {
	tfprotov5.ProviderServer
	document
}

func (b block) schema() (*tfprotov5.SchemaBlock, error) {
	made := &tfprotov5.SchemaBlock{}
	for name, a := range b.Attributes {
		kind, err := tftypes.ParseJSONType(a.Type)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		made.Attributes = append(made.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: kind, Required: a.Required, Optional: !a.Required && (!a.Computed || name == "id"),
			Computed: a.Computed || name == "id", WriteOnly: a.WriteOnly,
		})
	}
	nesting := map[string]tfprotov5.SchemaNestedBlockNestingMode{
		"list": tfprotov5.SchemaNestedBlockNestingModeList, "set": tfprotov5.SchemaNestedBlockNestingModeSet,
	}
	for name, n := range b.Blocks {
		inner, err := n.schema()
		if err != nil {
			return nil, fmt.Errorf("block %s: %w", name, err)
		}
		made.BlockTypes = append(made.BlockTypes, &tfprotov5.SchemaNestedBlock{
			TypeName: name, Block: inner, Nesting: nesting[n.Nesting], MinItems: n.Min, MaxItems: n.Max,
		})
	}
	return made, nil
}

func (s standIn) GetMetadata(context.Context, *tfprotov5.GetMetadataRequest) (*tfprotov5.GetMetadataResponse, error) {
	made := &tfprotov5.GetMetadataResponse{}
	for name := range s.Resources {
		made.Resources = append(made.Resources, tfprotov5.ResourceMetadata{TypeName: name})
	}
	return made, nil
}

func (s standIn) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	own, err := s.Provider.schema()
	if err != nil {
		return nil, err
	}
	made := &tfprotov5.GetProviderSchemaResponse{
		Provider:        &tfprotov5.Schema{Block: own},
		ResourceSchemas: map[string]*tfprotov5.Schema{},
	}
	for name, resource := range s.Resources {
		schema, err := resource.schema()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		made.ResourceSchemas[name] = &tfprotov5.Schema{Block: schema}
	}
	return made, nil
}

func (s standIn) PrepareProviderConfig(_ context.Context, asked *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: asked.Config}, nil
}

func (s standIn) ValidateResourceTypeConfig(context.Context, *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func (s standIn) ConfigureProvider(context.Context, *tfprotov5.ConfigureProviderRequest) (*tfprotov5.ConfigureProviderResponse, error) {
	return &tfprotov5.ConfigureProviderResponse{Diagnostics: []*tfprotov5.Diagnostic{{
		Severity: tfprotov5.DiagnosticSeverityError,
		Summary:  "This is not a provider",
		Detail:   "It stands in for one in `make terraform-check`. To plan or apply, let `terraform init` install the real ones.",
	}}}, nil
}

func (s standIn) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

func (s standIn) GetResourceIdentitySchemas(context.Context, *tfprotov5.GetResourceIdentitySchemasRequest) (*tfprotov5.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov5.GetResourceIdentitySchemasResponse{}, nil
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: stand-in HOST/NAMESPACE/NAME SCHEMA.json")
	}
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	var known document
	if err := json.Unmarshal(text, &known); err != nil {
		log.Fatalf("%s: %v", os.Args[2], err)
	}
	server := func() tfprotov5.ProviderServer { return standIn{document: known} }
	if err := tf5server.Serve(os.Args[1], server); err != nil {
		log.Fatal(err)
	}
}
