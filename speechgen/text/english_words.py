"""What English writes short and says long: the tables behind `english`."""

from __future__ import annotations

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip

# Symbol: one, many, and the hundredth part, one and many; none where nobody speaks of it.
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "", ""),
    "₩": ("won", "won", "", ""),
    "₽": ("ruble", "rubles", "", ""),
    "₿": ("bitcoin", "bitcoins", "", ""),
}
SCALES = {
    **dict.fromkeys(("k", "K", "thousand"), "thousand"),
    **dict.fromkeys(("m", "M", "mn", "mm", "million"), "million"),
    **dict.fromkeys(("b", "B", "bn", "billion"), "billion"),
    **dict.fromkeys(("t", "T", "tn", "trillion"), "trillion"),
}

# The first word of a unit is what takes the plural.
UNITS = {
    "km": "kilometer", "cm": "centimeter", "mm": "millimeter", "nm": "nanometer", "µm": "micrometer", "μm": "micrometer",
    "m": "meter", "mi": "mile", "ft": "foot", "yd": "yard", "yds": "yard", "inch": "inch", "in.": "inch", "ha": "hectare",
    "kg": "kilogram", "mg": "milligram", "µg": "microgram", "μg": "microgram", "g": "gram", "lb": "pound", "lbs": "pound",
    "oz": "ounce", "tsp": "teaspoon", "tbsp": "tablespoon", "gal": "gallon", "ml": "milliliter", "mL": "milliliter",
    "cl": "centiliter", "l": "liter", "L": "liter",
    "m/s²": "meter per second squared", "km/h": "kilometer per hour", "kph": "kilometer per hour",
    "kmh": "kilometer per hour", "mph": "mile per hour",
    "m/s": "meter per second", "ft/s": "foot per second", "mpg": "mile per gallon", "rpm": "revolution per minute",
    "fps": "frame per second", "bpm": "beat per minute", "dpi": "dot per inch", "psi": "pound per square inch",
    "°C": "degree Celsius", "° C": "degree Celsius", "°F": "degree Fahrenheit", "° F": "degree Fahrenheit", "°": "degree",
    "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "dB": "decibel",
    "V": "volt", "kV": "kilovolt", "mV": "millivolt", "mA": "milliamp", "mAh": "milliamp hour", "Ω": "ohm", "kΩ": "kiloohm",
    "W": "watt", "mW": "milliwatt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "kWh": "kilowatt hour",
    "kJ": "kilojoule", "kcal": "kilocalorie", "cal": "calorie", "hp": "horsepower", "Pa": "pascal", "kPa": "kilopascal",
    "hPa": "hectopascal",
    "KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "PB": "petabyte",
    "MB/s": "megabyte per second", "GB/s": "gigabyte per second", "kbps": "kilobit per second", "Mbps": "megabit per second",
    "Mbit/s": "megabit per second", "Gbps": "gigabit per second", "px": "pixel", "MP": "megapixel",
    "ms": "millisecond", "µs": "microsecond", "μs": "microsecond", "ns": "nanosecond", "s": "second", "sec": "second",
    "secs": "second", "min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour", "yr": "year", "yrs": "year",
}  # fmt: skip
PLURALS = {"foot": "feet", "inch": "inches", "hertz": "hertz", "horsepower": "horsepower"}

# Before a name.
TITLES = {
    "Mr": "Mister", "Ms": "Miz", "Dr": "Doctor", "Drs": "Doctors", "Prof": "Professor", "Capt": "Captain", "Col": "Colonel",
    "Gen": "General", "Maj": "Major", "Lt": "Lieutenant", "Sgt": "Sergeant", "Cpl": "Corporal", "Gov": "Governor",
    "Hon": "Honorable", "Rev": "Reverend", "Sen": "Senator", "Rep": "Representative", "Pres": "President",
    "Messrs": "Messieurs", "St": "Saint", "Mt": "Mount", "Ft": "Fort",
}  # fmt: skip
# Before a number.
NUMBERED = {
    "No": "number", "no": "number", "Nos": "numbers", "nos": "numbers", "Fig": "figure", "fig": "figure", "Vol": "volume",
    "vol": "volume", "Ch": "chapter", "ch": "chapter", "p": "page", "pp": "pages", "Sec": "section", "sec": "section",
    "Art": "article", "Eq": "equation", "Apt": "apartment", "ext": "extension", "Ext": "extension", "ca": "circa", "c": "circa",
}  # fmt: skip
# Anywhere, the point being part of them.
SHORT = {
    "e.g": "for example", "i.e": "that is", "etc": "et cetera", "&c": "et cetera", "vs": "versus", "viz": "namely",
    "cf": "compare", "et al": "et al", "a.k.a": "also known as", "p.a": "per annum", "approx": "approximately",
    "dept": "department",
    "Dept": "Department", "govt": "government", "Govt": "Government", "esp": "especially", "incl": "including",
    "Jr": "Junior", "Sr": "Senior", "Inc": "Incorporated", "Corp": "Corporation", "Ltd": "Limited", "Co": "Company",
    "Bros": "Brothers", "Esq": "Esquire", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Hwy": "Highway",
}  # fmt: skip

# Those of them that often close a sentence.
ENDING = {"etc", "&c", "Ave", "Blvd", "Rd", "Hwy", "Esq"}

FIXED = {
    "24/7": "twenty-four seven", "24-7": "twenty-four seven", "100s": "hundreds", "1000s": "thousands",
    "9/11": "nine eleven", "50/50": "fifty-fifty", "50-50": "fifty-fifty",
    "C++": "C plus plus", "C#": "C sharp", "F#": "F sharp", "AT&T": "AT-and-T", "w/o": "without", "w/": "with",
}  # fmt: skip

# Where names of computers end, and files; others are sentences that lack a space.
DOMAINS = (
    "com org net edu gov mil int info biz app dev io ai uk de fr eu nl ch jp cn ru au tv "
    "py js html htm css pdf txt csv json yaml xml md jpg jpeg png gif svg zip gz exe docx xlsx mp3 mp4 wav"
)
ADDRESS = {
    ".": " dot ", "/": " slash ", "-": " dash ", "_": " underscore ", "@": " at ", "?": " question mark ", "=": " equals ",
    "&": " and ", "#": " hash ", "%": " percent ", "~": " tilde ", ":": " colon ", "+": " plus ",
}  # fmt: skip

# Spelled though they could be spoken.
ADDRESS_WORDS = {"io": "I O", "ai": "AI", "uk": "UK", "eu": "EU", "au": "AU", "de": "DE", "py": "PY"}

# What Roman numbers follow: "Chapter four", but a ruler is "the fourth".
PARTS = (
    "War Chapter Part Act Scene Volume Vol Book Section Title Article Figure Table Appendix Phase Stage Level Type Class Grade "
    "Mark Bowl Wars Rocky Fantasy Episode Season Round Group Division Corps Lesson Unit Step Amendment"
)
RULERS = (
    "Henry Louis George Edward Elizabeth Charles James Richard William Mary John Paul Benedict Pius Leo Clement Gregory "
    "Innocent Alexander Nicholas Catherine Frederick Napoleon Philip Ferdinand Francis Ivan Peter Ramses Ptolemy Robert "
    "Gustav Christian Haakon Harald Umberto Emmanuel Wilhelm Rudolf Maximilian Otto Leopold Albert Alfonso Pedro Carlos Felipe "
    "Margrethe Mehmed Murad Selim Darius Xerxes Cyrus Urban Boniface Julius Sixtus Adrian David Constantine Michael"
)

SYMBOLS = {
    "&": "and", "@": "at", "#": "hash", "%": "percent", "‰": "per mille", "+": "plus", "=": "equals", "±": "plus or minus",
    "×": "times", "÷": "divided by", "≈": "is about", "≠": "is not", "≤": "is at most", "≥": "is at least", "√": "root of",
    "∞": "infinity", "§": "section", "°": "degrees", "~": "about", "\\": "backslash", "€": "euros", "$": "dollars",
    "£": "pounds", "¢": "cents", "²": "squared", "³": "cubed", "→": "to",
}  # fmt: skip
