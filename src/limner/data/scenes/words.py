"""English noun phrases for the things: articles, plurals, and what cannot be counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from limner.data.scenes.artwork import Thing

NUMBERS = ("zero", "one", "two", "three", "four")

IRREGULAR = {
    "person": "people", "child": "children", "mouse": "mice", "foot": "feet", "tooth": "teeth", "goose": "geese",
    "wolf": "wolves", "leaf": "leaves", "knife": "knives", "scarf": "scarves", "elf": "elves", "fish": "fish",
    "deer": "deer", "bison": "bison", "moose": "moose", "ox": "oxen", "shrimp": "shrimp", "squid": "squid",
    "cactus": "cacti", "blowfish": "blowfish", "potato": "potatoes", "tomato": "tomatoes", "superhero": "superheroes",
    "mosquito": "mosquitoes", "volcano": "volcanoes", "mango": "mangoes", "die": "dice", "hippopotamus": "hippopotami",
    "dwarf": "dwarves", "buffalo": "buffalo", "sheep": "sheep",
}  # fmt: skip

PLURAL = frozenset("""
revolving hearts|two hearts|sweat droplets|eyes|lungs|raising hands|clapping hands|folded hands|open hands|heart hands
crossed fingers|pinched fingers|footprints|paw prints|grapes|cherries|blueberries|peanuts|beans|pancakes|french fries
chopsticks|clinking beer mugs|clinking glasses|houses|admission tickets|Japanese dolls|nesting dolls|skis|glasses
sunglasses|goggles|jeans|gloves|socks|briefs|shorts|woman's clothes|shopping bags|ballet shoes|prayer beads
musical notes|control knobs|maracas|film frames|books|linked paperclips|scissors|crossed swords|chains|bubbles
antenna bars|crossed flags|bookmark tabs|card index dividers|sparkles|fireworks|busts in silhouette|hot springs
clockwise vertical arrows|woman and man holding hands|flexed biceps|flower playing cards
""".strip().replace("\n", "|").split("|"))  # fmt: skip

MASS = frozenset("""
bacon|popcorn|butter|salt|canned food|cooked rice|curry rice|spaghetti|sushi|fondue|shaved ice|sake|ice|pouring liquid
garlic|broccoli|bread|baguette bread|flatbread|stuffed flatbread|meat on bone|oden|falafel|custard|mate|fried shrimp
wood|yarn|fire|fog|luggage|lacrosse|ice hockey|field hockey|ping pong|badminton|tennis|bowling|coral|soap|dna|thread
building construction|bubble tea|nail polish|horse racing|soft ice cream|ginger root|money with wings
""".strip().replace("\n", "|").split("|"))  # fmt: skip

# Said with "the", or with nothing: there is one of it.
DEFINITE = frozenset({"Tokyo tower", "Statue of Liberty", "kaaba", "milky way", "map of Japan", "world map"})
PROPER = frozenset({"Santa Claus", "Mrs. Claus", "Mx Claus", "mount fuji"})
# Words that are no noun by themselves, outside the group of symbols.
WORDLESS = frozenset("""
breast-feeding|camping|cooking|foggy|construction|dashing away|hundred points|palms up together|performing arts
hourglass done|hourglass not done|speaker low volume|speaker medium volume|speaker high volume|ZZZ|dizzy|locked|unlocked
locked with pen|locked with key|airplane departure|airplane arrival|thumbs up|thumbs down|chart increasing
chart decreasing|chart increasing with yen|vibration mode|mobile phone off|e-mail|kiss|collision|cricket game|wedding
moon viewing ceremony|American football|rugby football|high voltage|night with stars|sunrise over mountains
umbrella on ground|rolling on the floor laughing
""".strip().replace("\n", "|").split("|"))  # fmt: skip

# A symbol with such a last word is a noun as it stands.
NOUNS = frozenset((
    "symbol", "sign", "button", "arrow", "mark", "asterisk", "star", "circle", "loop", "cross", "room", "emblem",
    "badge", "fleur-de-lis", "heart", "sparkle", "square", "triangle", "menorah", "khanda", "diamond", "restroom",
    "closet", "box",
))  # fmt: skip

TAIL = re.compile(
    r" (?=(?:with|of|in|on|for|without|behind|from|over|under|at|to|showing|tilted|pointing|curving|pointed|fluttering"
    r"|blowing|screaming|savoring|holding)\b)"
)
ACTOR = re.compile(r"(person|man|woman|people|men|women) (?=\w+ing\b)")
CONSONANT_SOUND = re.compile(r"(?:uni(?!n)|u[ts]i|eu|ewe|one\b|once|use|U\.)")
VOWEL_SOUND = re.compile(r"(?:[aeiou]|hour|heir|x-ray|SOS\b|NG\b|8\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Noun:
    """`one` without its article ("leaf fluttering in wind"), `many` ("leaves fluttering in wind"), `sort` how.

    Sorts: "count" (a cat, cats), "plural" (grapes), "mass" (bacon), "definite" (the kaaba), "proper" (Santa Claus),
    "pair" (a fork and knife), which has an article and no plural, and "flag" (the flag of Chad, flags of Chad).
    """

    one: str
    many: str
    sort: str

    @property
    def countable(self) -> bool:
        return self.sort in ("count", "flag")

    @property
    def plural(self) -> bool:
        return self.sort == "plural"

    def phrase(self, adjective: str = "") -> str:
        """With the article that it needs: "a small cat", "grapes", "the small kaaba"."""
        words = f"{adjective} {self.one}" if adjective else self.one
        if self.sort in ("plural", "mass", "proper"):
            return words
        the = self.sort == "definite" or (self.sort == "flag" and not adjective)
        return f"the {words}" if the else with_article(words)


def with_article(words: str) -> str:
    """ "a" or "an" by the first sound."""
    vowel = VOWEL_SOUND.match(words) and not CONSONANT_SOUND.match(words)
    return f"an {words}" if vowel else f"a {words}"


def pluralised(words: str) -> str:
    """The plural of a noun phrase: its head is the last word before a tail such as "with ..." or "in ..."."""
    if actor := ACTOR.match(words):
        head, tail = actor[1], words[actor.end(1) :]
    elif words.endswith((" sign", " button")):
        head, tail = words, ""
    else:
        head, *rest = TAIL.split(words, maxsplit=1)
        tail = f" {rest[0]}" if rest else ""
    before, space, last = head.rpartition(" ")
    return f"{before}{space}{_plural_word(last)}{tail}"


def _plural_word(word: str) -> str:
    if word.lower() in IRREGULAR:
        return IRREGULAR[word.lower()]
    if re.search(r"(?:^|wo|mer|snow|gentle)man$", word):
        return word[:-3] + "men"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(?:s|x|z|ch|sh)$", word) else "s")


@lru_cache(8192)
def noun(thing: Thing) -> Noun:
    """How captions speak of `thing`."""
    name, sort = thing.name, _sort(thing)
    suffix = ""
    if thing.subgroup == "time" and re.search(r"o'clock|-thirty", name):
        name = f"clock showing {name}"
    elif name in WORDLESS or name.startswith("input "):
        suffix = "emoji"
    elif (
        thing.group == "Symbols" and sort == "count" and not NOUNS & {TAIL.split(name)[0].split()[-1], name.split()[-1]}
    ):
        suffix = "symbol"
    return Noun(f"{name} {suffix}", f"{name} {suffix}s", sort) if suffix else Noun(name, pluralised(name), sort)


def _sort(thing: Thing) -> str:
    name = thing.name
    if name.startswith("flag of "):
        return "flag"
    if name in PLURAL or re.match(r"(people|men|women) ", name):
        return "plural"
    if name in MASS:
        return "mass"
    if name in DEFINITE:
        return "definite"
    if name in PROPER:
        return "proper"
    paired = re.search(r"\band\b", TAIL.split(name)[0])
    return "pair" if paired or name.endswith(")") else "count"
