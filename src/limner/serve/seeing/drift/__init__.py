"""Whether people ask for what a model was trained on, and whether it still draws it as well as it did.

distributions.py    counts in bins, how far one is from another, and how far chance alone takes it
prompts.py          a prompt in numbers: tokens, unknown words, distance to the captions
reference.py        the same of the captions that a model was trained on, kept beside the model
pictures.py         how well kept pictures show their prompts
examination.py      jobs of late against a reference and limits
reporting.py        what people read of it;  plots.py: its pictures
watching.py         the same for the metrics of a service that runs
"""
