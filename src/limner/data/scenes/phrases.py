"""How English says a ground, a place and a relation: tables of words, without a rule."""

from __future__ import annotations

OPENINGS = (
    "a drawing of {}", "a picture of {}", "an image of {}", "an illustration of {}", "a cartoon of {}", "an icon of {}",
    "an emoji of {}", "clip art of {}", "a simple picture of {}", "a small painting showing {}",
)  # fmt: skip
COMMANDS = ("draw {}", "please draw {}", "show me {}", "paint {} for me", "I want to see {}", "make a picture of {}")
LONG = (
    "this is a simple picture in which you can see {}",
    "a clean and colourful drawing that shows {}",
    "in this picture there is nothing but {}",
)

PLAIN = (
    " on {a} background", " on {a} background", " on a plain {c} background", " on {c}", " against {a} backdrop",
    " in front of {a} background", " with {a} background",
)  # fmt: skip
PLAIN_SHORT = ("{c} background", "{c} backdrop", "on {c}")
PLAIN_LEAD = ("on {a} background, {s}", "{a} background with {s}", "{a} picture with {s} on it")

GRADIENT = {
    "down": (" on a gradient from {x} to {y}", " on a background that fades from {x} at the top to {y} at the bottom",
             " with {x} fading into {y} behind"),
    "across": (" on a gradient from {x} on the left to {y} on the right",
               " on a background that fades from {x} on the left to {y} on the right"),
}  # fmt: skip

# For each named ground: after a noun, as keywords, before the rest, and as verbs (for one, for several).
NAMED = {
    "sky": (
        (" in blue skies", " in the blue sky", " in the sky", " in a blue sky with clouds", " among the clouds",
         " against a blue sky", " up in the sky"),
        ("blue sky", "sky", "blue sky, clouds"),
        ("in a blue sky, {s}", "a blue sky with {s}", "against a blue sky, {s}"),
        (("is flying", "are flying"), ("is floating", "are floating"), ("flies", "fly"), ("hangs", "hang")),
    ),
    "night": (
        (" in the night sky", " under the stars", " at night", " in a night sky with stars", " in a starry night",
         " among the stars"),
        ("night sky", "starry night", "night, stars"),
        ("in a night sky, {s}", "a starry night with {s}", "at night, under the stars, {s}"),
        (("is flying", "are flying"), ("is floating", "are floating"), ("shines", "shine")),
    ),
    "meadow": (
        (" in a meadow", " on a meadow", " in the grass field", " on a green field", " in the grass",
         " in a field of grass"),
        ("meadow", "grass field", "green meadow"),
        ("in a meadow, {s}", "a green meadow with {s}", "on a green field, {s}"),
        (("sits", "sit"), ("is standing", "are standing"), ("lies", "lie"), ("stands", "stand")),
    ),
    "beach": (
        (" on a beach", " at the beach", " on the sand by the sea", " on a sandy beach"),
        ("beach", "sandy beach", "sand, sea"),
        ("on a beach, {s}", "a beach with {s}", "at the beach, {s}"),
        (("is lying", "are lying"), ("sits", "sit"), ("is standing", "are standing")),
    ),
    "snow": (
        (" in the snow", " in a snowy landscape", " on snow", " in the white snow", " on a snowy field"),
        ("snow", "snowy landscape", "winter, snow"),
        ("in the snow, {s}", "a snowy landscape with {s}", "in a snowy landscape, {s}"),
        (("is standing", "are standing"), ("sits", "sit"), ("lies", "lie")),
    ),
    "desert": (
        (" in the desert", " in a sandy desert", " among sand dunes", " on desert sand"),
        ("desert", "sand dunes", "hot desert"),
        ("in the desert, {s}", "a desert with {s}", "among sand dunes, {s}"),
        (("is standing", "are standing"), ("sits", "sit"), ("lies", "lie")),
    ),
    "sea": (
        (" in the sea", " in the ocean", " on the water", " out at sea", " in the blue ocean"),
        ("sea", "ocean", "blue sea, waves"),
        ("in the sea, {s}", "an ocean with {s}", "out at sea, {s}"),
        (("is floating", "are floating"), ("is swimming", "are swimming"), ("drifts", "drift")),
    ),
    "sunset": (
        (" at sunset", " in front of a sunset", " in the evening sun", " against the sunset"),
        ("sunset", "evening sun", "sunset sky"),
        ("at sunset, {s}", "a sunset with {s}", "in the evening sun, {s}"),
        (("is seen", "are seen"), ("stands", "stand"), ("is resting", "are resting")),
    ),
}  # fmt: skip

WHERE = {
    "top left": ("in the top left corner", "in the upper left corner", "at the top left"),
    "top": ("at the top", "near the top edge"),
    "top right": ("in the top right corner", "in the upper right corner", "at the top right"),
    "left": ("on the left", "on the left side", "at the left edge"),
    "middle": ("in the middle", "in the center", "in the centre"),
    "right": ("on the right", "on the right side", "at the right edge"),
    "bottom left": ("in the bottom left corner", "in the lower left corner", "at the bottom left"),
    "bottom": ("at the bottom", "near the bottom edge"),
    "bottom right": ("in the bottom right corner", "in the lower right corner", "at the bottom right"),
}
SIZES = {"small": ("small", "small", "tiny", "little"), "big": ("big", "large", "huge", "big")}

# "{a}" is the first of the cast; "{is_}" agrees with it.
RELATED = {
    "beside": ("{a} and {b}", "{a} and {b}", "{a} next to {b}", "{a} beside {b}", "{a} and {b} side by side",
               "{a} together with {b}", "both {a} and {b}", "{a} {is_} next to {b}"),
    "left of": ("{a} to the left of {b}", "{a} left of {b}", "{a} on the left of {b}", "{a} {is_} to the left of {b}",
                "{a} on the left and {b} on the right", "{b} with {a} on its left"),
    "right of": ("{a} to the right of {b}", "{a} right of {b}", "{a} on the right of {b}",
                 "{a} {is_} to the right of {b}", "{a} on the right and {b} on the left", "{b} with {a} on its right"),
    "above": ("{a} above {b}", "{a} over {b}", "{a} {is_} above {b}", "{b} with {a} above it",
              "{a} at the top and {b} at the bottom"),
    "below": ("{a} below {b}", "{a} under {b}", "{a} beneath {b}", "{a} {is_} below {b}", "{b} with {a} below it",
              "{a} at the bottom and {b} at the top"),
    "on top of": ("{a} on top of {b}", "{a} standing on {b}", "{a} sitting on top of {b}", "{a} {is_} on top of {b}",
                  "{b} with {a} on top"),
    "inside": ("{a} inside {b}", "{a} in {b}", "{a} {is_} inside {b}", "{b} with {a} inside", "{b} around {a}"),
    "between": ("{a} between {b} and {c}", "{a} in between {b} and {c}", "{a} {is_} between {b} and {c}",
                "{b} and {c} with {a} between them", "{b}, {a} and {c} from left to right"),
}  # fmt: skip
EVERY_CORNER = ("{one} in each corner", "{one} in every corner", "four {many}, one in each corner",
                "{many} in all four corners")  # fmt: skip
