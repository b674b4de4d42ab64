"""Where pictures are drawn: worker processes, each with one model, fed from one fair queue."""
