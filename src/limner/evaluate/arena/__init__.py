"""People's judgement: blind votes between two pictures of a prompt, and the ratings that follow from them."""
