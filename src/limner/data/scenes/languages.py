"""The same in other languages: an emoji's CLDR name, and a plain ground in one fixed phrase."""

from __future__ import annotations

from limner.data.dice import Dice
from limner.data.scenes.plan import Plan

# In the order of the basic colours: red orange yellow green blue purple pink brown black white gray.
ORDER = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
GROUNDS = {
    "de": ("{name} auf {colour} Hintergrund",
           "rotem orangem gelbem grünem blauem violettem rosa braunem schwarzem weißem grauem"),
    "es": ("{name} sobre fondo {colour}", "rojo naranja amarillo verde azul morado rosa marrón negro blanco gris"),
    "fr": ("{name} sur fond {colour}", "rouge orange jaune vert bleu violet rose marron noir blanc gris"),
    "it": ("{name} su sfondo {colour}", "rosso arancione giallo verde blu viola rosa marrone nero bianco grigio"),
    "pt": ("{name} em fundo {colour}", "vermelho laranja amarelo verde azul roxo rosa marrom preto branco cinza"),
    "ru": ("{name} на {colour} фоне",
           "красном оранжевом жёлтом зелёном синем фиолетовом розовом коричневом чёрном белом сером"),
    "ar": ("{name} على خلفية {colour}", "حمراء برتقالية صفراء خضراء زرقاء بنفسجية وردية بنية سوداء بيضاء رمادية"),
    "hi": ("{colour} पृष्ठभूमि पर {name}", "लाल नारंगी पीली हरी नीली बैंगनी गुलाबी भूरी काली सफ़ेद स्लेटी"),
    "ja": ("{colour}背景に{name}", "赤い オレンジ色の 黄色い 緑の 青い 紫の ピンクの 茶色の 黒い 白い 灰色の"),
    "ko": ("{colour} 배경의 {name}", "빨간색 주황색 노란색 초록색 파란색 보라색 분홍색 갈색 검은색 흰색 회색"),
    "zh": ("{colour}背景上的{name}", "红色 橙色 黄色 绿色 蓝色 紫色 粉色 棕色 黑色 白色 灰色"),
}  # fmt: skip


def foreign_caption(plan: Plan, dice: Dice) -> tuple[str, str, str]:
    """Caption, form and language."""
    thing = plan.cast[0]
    language = dice.pick(sorted(thing.names))
    name = thing.names[language]
    if not plan.ground.said:
        return name, "name", language
    phrase, colours = GROUNDS[language]
    colour = colours.split()[ORDER.index(plan.ground.colours[0])]
    return phrase.format(name=name, colour=colour), "on ground", language
