"""What the assistant says when no language model is configured: little, but true.

It tells the time and the date, calculates, says who it is and what it can do, and otherwise repeats what it heard.
"""

import re
from datetime import datetime
from fractions import Fraction

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: value for value, word in enumerate(_UNITS)} | {word: 20 + 10 * n for n, word in enumerate(_TENS)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_OPERATORS = {
    "plus": "+",
    "minus": "-",
    "times": "*",
    "x": "*",
    "multiplied by": "*",
    "divided by": "/",
    "over": "/",
}
_SAID = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_WORD = re.compile(r"\d+(?:\.\d+)?|multiplied by|divided by|[a-z']+|[-+*/]")
_LARGEST = 10**15 - 1
_LONGEST = 500
"""Of what was said, in letters: as much as anybody says in a question."""

NO_MODEL = "No language model is configured, so I can only tell the time and the date, and do sums."


def answer(heard: str, *, name: str, now: datetime) -> str:
    """The answer to what somebody said, by the clock `now`; the same words always get the same answer."""
    said = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", heard[:_LONGEST].lower().strip(" .?!"))
    if ending := re.search(r"ends in about (\d+) seconds", said):
        return f"Our time is almost over: {ending[1]} seconds are left."
    if total := _sum(said):
        return total
    for pattern, reply in (
        (r"\btime\b", f"It is {_time(now)}."),
        (r"\b(date|day)\b", f"Today is {_date(now)}."),
        (r"\bwho are you\b|\byour name\b", f"I am {name}. {NO_MODEL}"),
        (r"\bwhat can (you|i)\b|\bhelp\b", f"{NO_MODEL} Ask me, for example: what is seven times six?"),
        (r"\bthank(s| you)\b", "You are welcome."),
        (r"\b(goodbye|bye|good night|see you)\b", "Goodbye."),
        (r"^(hello|hi|hey|good (morning|evening|afternoon))\b|\bhow are you\b", "Hello. What can I tell you?"),
    ):
        if re.search(pattern, said):
            return reply
    return f"I heard: {heard.strip()}. {NO_MODEL}" if said else "I did not hear any words."


def _time(now: datetime) -> str:
    hour, half = now.hour % 12 or 12, "in the morning" if now.hour < 12 else "in the afternoon"
    minutes = f" {'oh ' if now.minute < 10 else ''}{_words(Fraction(now.minute))}" if now.minute else " o'clock"
    return f"{_words(Fraction(hour))}{minutes} {'in the evening' if now.hour >= 18 else half}"


def _date(now: datetime) -> str:
    return f"{now:%A}, {now:%B} {now.day}"


def _sum(said: str) -> str:
    """The sum in these words, solved in words; nothing if there is none."""
    tokens = [_OPERATORS.get(token, token) for token in _WORD.findall(said)]
    numbers: list[Fraction] = []
    operators: list[str] = []
    for part in _parts(tokens):
        if isinstance(part, Fraction):
            numbers.append(part)
        else:
            operators.append(part)
    if not operators or len(numbers) != len(operators) + 1:
        return ""
    try:
        total = _solve(numbers, operators)
    except ZeroDivisionError:
        return "Nothing can be divided by zero."
    if max(map(abs, [*numbers, total])) > _LARGEST:
        return "That is more than I can say."
    steps = zip(operators, numbers[1:], strict=True)
    asked = " ".join([_words(numbers[0]), *(f"{_SAID[operator]} {_words(number)}" for operator, number in steps)])
    about = "" if total.denominator in {1, 2, 4, 5, 10} else "about "
    return f"{asked} is {about}{_words(total)}."


def _parts(tokens: list[str]) -> list[Fraction | str]:
    """Numbers and operators in turn, from the first number on; other words are passed over."""
    parts: list[Fraction | str] = []
    number: list[str] = []
    for token in [*tokens, ""]:
        if token in _VALUES or token in _SCALES or token[:1].isdigit() or (token in {"a", "and"} and number):
            number.append(token)
            continue
        if number:
            parts.append(_value(number))
            number = []
        if token in _SAID:
            parts.append(token)
    return parts


def _value(words: list[str]) -> Fraction:
    total, here = Fraction(0), Fraction(0)
    for word in words:
        if word in _SCALES:
            here = (here or Fraction(1)) * _SCALES[word]
            if _SCALES[word] >= 1000:
                total, here = total + here, Fraction(0)
        elif word not in {"a", "and"}:
            here += _VALUES[word] if word in _VALUES else Fraction(word)
    return total + here


def _solve(numbers: list[Fraction], operators: list[str]) -> Fraction:
    terms = [numbers[0]]
    for operator, number in zip(operators, numbers[1:], strict=True):
        match operator:
            case "+":
                terms.append(number)
            case "-":
                terms.append(-number)
            case "*":
                terms[-1] *= number
            case _:
                terms[-1] /= number
    return sum(terms, Fraction(0))


def _words(number: Fraction) -> str:
    whole, rest = divmod(abs(round(number, 2)), 1)
    said = f"minus {_whole(int(whole))}" if number < 0 else _whole(int(whole))
    digits = f"{float(rest):.2f}"[2:].rstrip("0")
    return f"{said} point {' '.join(_UNITS[int(digit)] for digit in digits)}" if digits else said


def _whole(number: int) -> str:
    if number < 20:
        return _UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return _TENS[tens - 2] + (f" {_UNITS[units]}" if units else "")
    name, scale = next((name, scale) for name, scale in reversed(_SCALES.items()) if scale <= number)
    count, rest = divmod(number, scale)
    return f"{_whole(count)} {name}" + (f" {'and ' if rest < 100 else ''}{_whole(rest)}" if rest else "")
