"""How many replicas to ask for now, so that they are warm when the traffic comes.

    observe (a count per minute) -> series -> features -> model -> need per replica -> holding -> Forecast
                                    window -> labels, features -> learner -> model      (refit, daily, off the loop)

The question is asked per replica: what part of the next one is needed over the lead time, and is that worth its price?
Values in and out: no clock, no I/O. numpy is needed; without LightGBM, or with too little history, a reactive rule answers.
"""
