"""Families of under 10,000 parameters that really learn, each the smallest of its kind that the contract must hold.

A GAN has two losses in turn; a model over tokens has a codec that is a step of its own; a cascade has
two stages, by which `advance` groups its sketches; a mural is of any size, and is painted over images.
"""

TOYS = {
    "gan": "tests.toys.gan:GAN",
    "autoregressive": "tests.toys.autoregressive:Autoregressive",
    "cascade": "tests.toys.cascade:Cascade",
    "mural": "tests.toys.mural:Mural",
}
