"""What is written in digits, symbols and abbreviations is read as an English speaker would read it."""

import random

import pytest

from speechgen.text.english import EnglishReader
from speechgen.text.spans import SPAN
from tests.timing import seconds_of

AMERICAN = [
    # Whole numbers
    ("0", "zero"),
    ("7 cats", "seven cats"),
    ("13 of 20", "thirteen of twenty"),
    ("21", "twenty-one"),
    ("105", "one hundred five"),
    ("999", "nine hundred ninety-nine"),
    ("1,000", "one thousand"),
    ("1005 boxes", "one thousand five boxes"),
    ("3500", "three thousand five hundred"),
    ("12,345", "twelve thousand three hundred forty-five"),
    ("1,234,567", "one million two hundred thirty-four thousand five hundred sixty-seven"),
    ("1000000000", "one billion"),
    ("007", "zero zero seven"),
    ("12345678901234567", "one two three four five six seven eight nine zero one two three four five six seven"),
    ("٣ cats", "three cats"),
    ("I have 2.", "I have two."),
    ("1, 2, 3!", "one, two, three!"),
    # Decimals, signs, ranges
    ("3.14", "three point one four"),
    ("0.05", "zero point zero five"),
    (".5", "point five"),
    ("1,250.75", "one thousand two hundred fifty point seven five"),
    ("-5", "minus five"),
    ("−40", "minus forty"),
    ("it fell to -2.5 overnight", "it fell to minus two point five overnight"),
    ("5-10", "five to ten"),
    ("5–10 people", "five to ten people"),
    ("pages 10 – 12", "pages ten to twelve"),
    ("5 - 3 = 2", "five minus three equals two"),
    ("20-year-old", "twenty-year-old"),
    # Ordinals
    ("1st", "first"),
    ("the 2nd and 3rd", "the second and third"),
    ("21st century", "twenty-first century"),
    ("the 100th day", "the one hundredth day"),
    ("1,001st", "one thousand first"),
    ("12TH", "twelfth"),
    # Money
    ("$5.50", "five dollars and fifty cents"),
    ("$1", "one dollar"),
    ("$0.99", "ninety-nine cents"),
    ("$.75", "seventy-five cents"),
    ("$1,000", "one thousand dollars"),
    ("$5.00", "five dollars"),
    ("$1.01", "one dollar and one cent"),
    ("£3m", "three million pounds"),
    ("£2.50", "two pounds and fifty pence"),
    ("€1,200", "one thousand two hundred euros"),
    ("$3.5 billion", "three point five billion dollars"),
    ("$2bn", "two billion dollars"),
    ("$40k", "forty thousand dollars"),
    ("¥500", "five hundred yen"),
    ("20€", "twenty euros"),
    ("5 £", "five pounds"),
    ("US$20", "twenty US dollars"),
    ("99¢", "ninety-nine cents"),
    ("-$5", "minus five dollars"),
    ("$5-10", "five to ten dollars"),
    ("$5-$10", "five dollars to ten dollars"),
    ("a $20 bill", "a twenty dollar bill"),
    ("a $5 million deal", "a five million dollar deal"),
    ("$15/hour", "fifteen dollars per hour"),
    ("₹100", "one hundred rupees"),
    # Percentages
    ("50%", "fifty percent"),
    ("3.5 %", "three point five percent"),
    ("1,250.75%", "one thousand two hundred fifty point seven five percent"),
    ("5-10%", "five to ten percent"),
    ("5%-10%", "five percent to ten percent"),
    # Dates
    ("2024-03-05", "March fifth, twenty twenty-four"),
    ("March 5th 2024", "March fifth twenty twenty-four"),
    ("March 5, 2024", "March fifth, twenty twenty-four"),
    ("Jan. 5th, 2024", "January fifth, twenty twenty-four"),
    ("on Sept 11", "on September eleventh"),
    ("5/3/2024", "May third, twenty twenty-four"),
    ("12/31/1999", "December thirty-first, nineteen ninety-nine"),
    ("25/12/2020", "December twenty-fifth, twenty twenty"),
    ("5.3.2024", "March fifth, twenty twenty-four"),
    ("7/4/76", "July fourth, seventy-six"),
    ("5 March 2024", "the fifth of March twenty twenty-four"),
    ("the 4th of July", "the fourth of July"),
    ("March 5-7", "March fifth to seventh"),
    ("May 2007", "May two thousand seven"),
    ("Feb. 1998", "February nineteen ninety-eight"),
    ("2024-03-05T12:30", "March fifth, twenty twenty-four at twelve thirty"),
    ("2021/06/15", "June fifteenth, twenty twenty-one"),
    # Years
    ("1984", "nineteen eighty-four"),
    ("in 2007", "in two thousand seven"),
    ("in 2024.", "in twenty twenty-four."),
    ("1905", "nineteen oh five"),
    ("1900", "nineteen hundred"),
    ("2000", "two thousand"),
    ("the 1990s", "the nineteen nineties"),
    ("the '80s", "the eighties"),
    ("the 2010s", "the twenty tens"),
    ("the 1900s", "the nineteen hundreds"),
    ("mid-1970s", "mid-nineteen seventies"),
    ("1914–1918", "nineteen fourteen to nineteen eighteen"),
    ("2007-08", "two thousand seven to oh eight"),
    ("44 BC", "forty-four BC"),
    ("1500 kg", "one thousand five hundred kilograms"),
    ("2024 people", "two thousand twenty-four people"),
    # Times
    ("12:30", "twelve thirty"),
    ("3pm", "three PM"),
    ("09:05 a.m.", "nine oh five AM."),
    ("at 7:45 p.m. sharp", "at seven forty-five PM sharp"),
    ("He left at 7 p.m. Then it rained.", "He left at seven PM. Then it rained."),
    ("12:00", "twelve o'clock"),
    ("3:00 PM", "three PM"),
    ("18:00", "eighteen hundred"),
    ("00:15", "zero fifteen"),
    ("9am-5pm", "nine AM to five PM"),
    ("9:00-17:30", "nine o'clock to seventeen thirty"),
    ("1:02:03", "one oh two and three seconds"),
    ("16:9", "sixteen to nine"),
    # Units
    ("5 km", "five kilometers"),
    ("1 km", "one kilometer"),
    ("20°C", "twenty degrees Celsius"),
    ("−40 °C", "minus forty degrees Celsius"),
    ("72℉", "seventy-two degrees Fahrenheit"),
    ("90°", "ninety degrees"),
    ("3.5GB", "three point five gigabytes"),
    ("60 mph", "sixty miles per hour"),
    ("100 km/h", "one hundred kilometers per hour"),
    ("10kg", "ten kilograms"),
    ("6 ft", "six feet"),
    ("1 ft", "one foot"),
    ("5'10\"", "five foot ten"),
    ("440 Hz", "four hundred forty hertz"),
    ("20 m²", "twenty square meters"),
    ("5 m³", "five cubic meters"),
    ("a 10-km run", "a ten-kilometer run"),
    ("5-10 km", "five to ten kilometers"),
    ("250 ml", "two hundred fifty milliliters"),
    ("16 oz.", "sixteen ounces."),
    ("100 Mbps", "one hundred megabits per second"),
    ("5 kg/day", "five kilograms per day"),
    ("10²", "ten squared"),
    ("9.8 m/s²", "nine point eight meters per second squared"),
    ("6 ft. tall, 5 in. wide", "six feet tall, five inches wide"),
    ("£1.50/kg", "one pound and fifty pence per kilogram"),
    ("a 3 x 4 m room", "a three by four meters room"),
    ("1.5M albums, 3bn years", "one point five million albums, three billion years"),
    ("100s of cats", "hundreds of cats"),
    # Fractions
    ("1/2", "one half"),
    ("½", "one half"),
    ("2½", "two and a half"),
    ("3/4", "three quarters"),
    ("1 1/2", "one and a half"),
    ("2/3", "two thirds"),
    ("7/8", "seven eighths"),
    ("5¾ km", "five and three quarters kilometers"),
    ("½ km", "one half kilometer"),
    ("10/10", "ten out of ten"),
    ("22/7", "twenty-two sevenths"),
    ("7/25", "seven over twenty-five"),
    ("9.5/10", "nine point five out of ten"),
    ("1/2 tsp of salt", "one half teaspoon of salt"),
    # Telephone numbers and codes
    ("978-3-16-148410-0", "nine seven eight, three, one six, one four eight four one oh, oh"),
    ("555-0199", "five five five, oh one nine nine"),
    ("(212) 555-1234", "two one two, five five five, one two three four"),
    ("1-800-555-0199", "one, eight oh oh, five five five, oh one nine nine"),
    ("+44 20 7946 0958", "plus four four, two oh, seven nine four six, oh nine five eight"),
    ("020 7946 0958", "oh two oh, seven nine four six, oh nine five eight"),
    ("24/7", "twenty-four seven"),
    ("9/11", "nine eleven"),
    # Abbreviations
    ("Dr. Smith", "Doctor Smith"),
    ("Mr. Jones and Prof. Lee", "Mister Jones and Professor Lee"),
    ("Ms. Gray", "Miz Gray"),
    ("St. Paul", "Saint Paul"),
    ("12 Main St.", "twelve Main Street."),
    ("St. John's St. is near", "Saint John's Street is near"),
    ("at 1600 Penn Ave. NW", "at sixteen hundred Penn Avenue NW"),
    ("4 Elm Dr. in Dover", "four Elm Drive in Dover"),
    ("Mt. Everest", "Mount Everest"),
    ("apples, pears, etc.", "apples, pears, et cetera."),
    ("tea, coffee, etc. were sold", "tea, coffee, et cetera were sold"),
    ("fruit, e.g. plums", "fruit, for example plums"),
    ("one, i.e. none", "one, that is none"),
    ("cats vs. dogs", "cats versus dogs"),
    ("cats vs dogs", "cats versus dogs"),
    ("No. 5", "number five"),
    ("Nos. 5 and 6", "numbers five and six"),
    ("Oh no. 5 left.", "Oh number five left."),
    ("No. I refuse.", "No. I refuse."),
    ("King Jr. spoke", "King Junior spoke"),
    ("p. 12, pp. 13-14", "page twelve, pages thirteen to fourteen"),
    ("fig. 3", "figure three"),
    ("Acme Inc.", "Acme Incorporated."),
    # E-mail, web, files
    ("help@example.com", "help at example dot com"),
    ("john_doe99@mail.co.uk", "john underscore doe ninety-nine at mail dot co dot UK"),
    ("https://www.example.com/a-b", "WWW dot example dot com slash a dash b"),
    ("Visit example.org.", "Visit example dot org."),
    ("see python.org/doc?q=1.", "see python dot org slash doc question mark q equals one."),
    ("open report.pdf", "open report dot PDF"),
    ("bbc.co.uk", "BBC dot co dot UK"),
    # Initialisms, and letters beside digits
    ("NASA, the FBI and an iPhone", "NASA, the FBI and an iPhone"),
    ("FBI 2024", "FBI twenty twenty-four"),
    ("MP3", "MP three"),
    ("COVID-19", "COVID nineteen"),
    ("an A4 sheet", "an A-four sheet"),
    ("221B Baker Street", "two hundred twenty-one B Baker Street"),
    ("a 3D film in 4K", "a three D film in four K"),
    ("F-16", "F sixteen"),
    ("H₂O", "H two O"),
    ("AT&T", "AT-and-T"),
    # Roman numbers
    ("Henry VIII", "Henry the eighth"),
    ("Henry VIII's wives", "Henry the eighth's wives"),
    ("Elizabeth II", "Elizabeth the second"),
    ("Charles I was king", "Charles the first was king"),
    ("World War II", "World War two"),
    ("World War I ended", "World War one ended"),
    ("Chapter IV", "Chapter four"),
    ("Super Bowl LVIII", "Super Bowl fifty-eight"),
    ("Rocky III", "Rocky three"),
    ("Did Charles I saw win?", "Did Charles I saw win?"),
    ("an IV drip", "an IV drip"),
    ("He and I", "He and I"),
    # Symbols
    ("salt & pepper", "salt and pepper"),
    ("meet @ noon", "meet at noon"),
    ("1+1=2", "one plus one equals two"),
    ("10 / 2 = 5", "ten divided by two equals five"),
    ("x = y + z", "x equals y plus z"),
    ("#5", "number five"),
    ("#winning", "hashtag winning"),
    ("3 × 4", "three times four"),
    ("a 4x4", "a four by four"),
    ("5 ± 2", "five plus or minus two"),
    ("a < b", "a is less than b"),
    ("2^10", "two to the power of ten"),
    ("C++ and C#", "C plus plus and C sharp"),
    ("and/or", "and or"),
    ("*really* good", "really good"),
    ("~20 people", "about twenty people"),
    ("§ 5", "section five"),
    # Versions
    ("3.11.2", "three point eleven point two"),
    ("v2.0", "version two point zero"),
    ("192.168.0.1", "one hundred ninety-two dot one hundred sixty-eight dot zero dot one"),
    # Together
    (
        "Dr. Smith paid $3.50 on Jan. 5th, 2024, at 7:45 p.m.",
        "Doctor Smith paid three dollars and fifty cents on January fifth, twenty twenty-four, at seven forty-five PM.",
    ),
    (
        "Call 555-0199 or write to help@example.com before 12/31/1999.",
        "Call five five five, oh one nine nine or write to help at example dot com before "
        "December thirty-first, nineteen ninety-nine.",
    ),
    (
        "The pressure rose 1,250.75% between −40 °C and 38 °C.",
        "The pressure rose one thousand two hundred fifty point seven five percent between minus forty degrees Celsius "
        "and thirty-eight degrees Celsius.",
    ),
]
BRITISH = [
    ("105", "one hundred and five"),
    ("1005", "one thousand and five"),
    ("1,234,567", "one million two hundred and thirty-four thousand five hundred and sixty-seven"),
    ("5/3/2024", "the fifth of March, twenty twenty-four"),
    ("2024-03-05", "the fifth of March, twenty twenty-four"),
    ("March 5", "March the fifth"),
    ("5 March 2007", "the fifth of March two thousand and seven"),
    ("50p", "fifty pence"),
    ("the 101st", "the one hundred and first"),
]
WORDS = [
    "The quick brown fox, it seems, jumps.",
    'He said: "go!" (and went) — so…',
    "Mrs. Hall's sister-in-law",
    "J. K. Rowling of the U.S. army",
    "THE CAT SAT",
    "I may march on; a second part I liked.",
]


@pytest.fixture(scope="module")
def american() -> EnglishReader:
    return EnglishReader()


@pytest.mark.parametrize(("text", "expected"), AMERICAN)
def test_text_is_read_as_americans_do(american, text, expected):
    assert american(text) == expected


@pytest.mark.parametrize(("text", "expected"), BRITISH)
def test_text_is_read_as_the_british_do(text, expected):
    assert EnglishReader(american=False)(text) == expected


def test_the_table_is_large():
    assert len({text for text, _ in AMERICAN + BRITISH}) >= 150


@pytest.mark.parametrize("text", [*WORDS, *(expected for _, expected in AMERICAN)])
def test_what_is_in_words_stays(american, text):
    assert american(text).lower() == text.lower()


def test_phonemes_stay_as_they_are(american):
    assert american("say [[tə.mˈeɪ.toʊ 5 & %]] 5 times") == "say [[tə.mˈeɪ.toʊ 5 & %]] five times"


PIECES = """
1 23 4567 0 . , : / - – — $ £ % ° ² ½ km m s st th p.m. am Jan. May No. etc. St. @ a.com www. http:// # + = x ( ) ' " IV VIII
Henry Chapter A a B v T [[ ]] [[ə]] ٣ ௧ ① é 你 \u200d \ue000 \U000f0000 ^ < > & _ | \\ ~ 's e.g. C++ 5:30 1/2 5/6/78 '90s
"""


@pytest.mark.parametrize("gap", [" ", ""])
def test_no_digit_is_left_and_reading_twice_changes_nothing(american, gap):
    rng = random.Random(0)
    for _ in range(800):
        text = gap.join(rng.choices(PIECES.split(), k=rng.randint(1, 9)))
        once = american(text)
        assert not any(char.isdecimal() for char in SPAN.sub("", once)), repr(text)
        # What ran together may come apart into something that has a reading of its own.
        assert not gap or american(once) == once, repr(text)


def test_any_character_is_accepted(american):
    rng = random.Random(0)
    for _ in range(300):
        american("".join(chr(rng.randrange(0x110000)) + rng.choice("1 $a.-") for _ in range(10)))


UNITS = """
5 1,111 1, 1. 1- 1/ 1: $ $1 +1 (555) - a@ @a. a. www. http:// a- I A [[ ]] [[a [[a]] & # 1' v1. ^ é ٣ a/ ° 5_ 1_1/ +1_
March_5_ ½_ Jan. No. etc. Henry_ Chapter_V_ 1_Main_ e.g._ 5km_ _ 1990s_ 1st_
"""


@pytest.mark.parametrize("unit", UNITS.split())
def test_100_000_characters_take_linear_time(american, unit):
    text = (unit.replace("_", " ") * 100_000)[:100_000] + "!"
    assert seconds_of(lambda: american(text)) < 4


def test_100_000_characters_of_numbers_take_linear_time(american):
    rng = random.Random(0)
    text = " ".join(str(rng.randrange(10**6)) for _ in range(15_000))
    assert seconds_of(lambda: american(text)) < 4
