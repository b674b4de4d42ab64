"""The page for people, upon Gradio.

lazy.py      the page is built when somebody first opens it: importing Gradio takes longer than all the rest of a start
blocks.py    what is on it;  knobs.py: a field for each of a model's knobs
drawing.py   one drawing: from the fields to an order, and pictures as they come
galleries.py jobs that were drawn;  several.py: two models beside one another, and a grid over two knobs
showing.py   pictures and lines as HTML, in which every text is text
policy.py    what the browser may load and run on it: nothing from elsewhere
login.py     where a key is given

Pictures that are shown are our own files, at the addresses of openai/, and carry what they were drawn with; only what
somebody uploads goes through Gradio's files.
"""
