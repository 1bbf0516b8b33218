"""Documents with Faker's personal data in seven locales, for benches/filters.rs: values by another hand than the filter's.

    python3 -m venv /tmp/faker && /tmp/faker/bin/pip install faker==40.36.0
    /tmp/faker/bin/python crates/safety-text/tests/faker_set.py 2000 24 > /tmp/faker.jsonl
    LABELLED=/tmp/faker.jsonl cargo bench -p safety-text --bench filters

The sentences around the values and the look-alikes are written here; offsets are bytes.
"""

import json
import random
import sys

from faker import Faker

LOCALES = ["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR"]
COUNT, SEED = int(sys.argv[1]), int(sys.argv[2])
Faker.seed(SEED)
draw = random.Random(SEED)
fakers = {locale: Faker(locale) for locale in LOCALES}

FRAMES = {
    "email": ["Contact {}", "mail {} please", "{}", "{} wrote:", "Sent by <{}>"],
    "phone": ["Phone: {}", "call {}", "Tel {}", "my number is {}, ring me", "Mobile {}", "Telefon: {}"],
    "card": ["Card {}", "charged to card {}", "{}", "Credit card number: {}", "the number {} was used"],
    "iban": ["IBAN {}", "account {}", "{}"],
    "ssn": ["SSN {}", "{}", "social security number {}"],
    "ip": ["from {}", "{} connected", "IP address {}", "{}"],
}


def value(kind):
    fake = fakers[draw.choice(LOCALES)]
    if kind == "email":
        return draw.choice([fake.email, fake.ascii_company_email, fake.free_email])()
    if kind == "phone":
        return fake.phone_number()
    if kind == "card":
        return fake.credit_card_number()
    if kind == "iban":
        return fake.iban()
    if kind == "ssn":
        return fakers["en_US"].ssn()
    return draw.choice([fake.ipv4_public, fake.ipv6])()


def lookalike():
    fake = fakers[draw.choice(LOCALES)]
    digits = lambda n: "".join(draw.choice("0123456789") for _ in range(n))
    return draw.choice([
        lambda: f"Order {digits(draw.choice([8, 9, 10, 11, 12]))}",
        lambda: f"ISBN {fake.isbn13()}",
        lambda: f"ISBN {fake.isbn10()}",
        lambda: fake.date(),
        lambda: fake.date_time().isoformat(),
        lambda: f"version {draw.randint(1, 20)}.{draw.randint(0, 40)}.{draw.randint(0, 300)}.{draw.randint(0, 99)}",
        lambda: fake.uuid4(),
        lambda: f"commit {fake.sha1()}",
        lambda: fake.ipv4_private(),
        lambda: f"invoice no. {digits(16)}",
        lambda: f"EAN {fake.ean13()}",
        lambda: f"{draw.randint(1, 999)},{digits(3)},{digits(3)} units",
        lambda: f"timestamp {draw.randint(10**9, 2 * 10**9)}",
        lambda: f"{draw.random():.12f}",
        lambda: fake.mac_address(),
        lambda: fake.license_plate() if hasattr(fake, "license_plate") else fake.color(),
        lambda: f"{fake.latitude()}, {fake.longitude()}",
    ])()


for _ in range(COUNT):
    text, entities = "", []
    for _ in range(draw.randint(2, 6)):
        fake = fakers[draw.choice(LOCALES)]
        roll = draw.random()
        if roll < 0.35:
            text += draw.choice([fake.sentence(), fake.catch_phrase() if hasattr(fake, "catch_phrase") else fake.sentence()])
        elif roll < 0.6:
            text += lookalike()
        else:
            kind = draw.choice(list(FRAMES))
            before, after = draw.choice(FRAMES[kind]).split("{}")
            data = value(kind)
            start = len((text + before).encode())
            text += before + data + after
            entities.append({"start": start, "end": start + len(data.encode()), "kind": kind})
        text += draw.choice([". ", "\n", "; ", " – "])
    print(json.dumps({"text": text, "entities": entities}, ensure_ascii=False))
