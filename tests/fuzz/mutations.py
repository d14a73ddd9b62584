"""Mutations: documents, bytes and words, changed a little by a seeded chance."""

import copy
import json

NASTY = "\x1b[31mred\x9b\u202e\u2028"
ODD = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), "", " ", "0", "a" * 5_000, NASTY, "\0", "\ud800"),
    *("../../etc", "/dev/null", "2026-01-02T03:04:05+00:00", "0001-01-01", "nan"),
    *([], {}, [[]], [None], {"": {}}, {"a": None}, [0] * 40, ["a", 1, None]),
)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def places(value, path=()):
    """Yield the path of every value in a document."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 20)):
            yield from places(value[index], (*path, index))


def odd(chance):
    return nested(chance.choice([3, 400])) if chance.random() < 0.02 else pick(chance)


def pick(chance):
    return copy.deepcopy(chance.choice(ODD))


def document(value, chance):
    """Return a document in which one to three things are otherwise."""
    value = copy.deepcopy(value)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        everywhere = list(places(value))
        path = chance.choice(everywhere)
        if not path:
            if chance.random() < 0.1:
                return odd(chance)
            continue
        owner = value
        for key in path[:-1]:
            owner = owner[key]
        how = chance.randrange(6)
        if how == 0:
            del owner[path[-1]]
        elif how == 1 and isinstance(owner, list):
            owner.append(copy.deepcopy(owner[path[-1]]))
        elif how == 2 and isinstance(owner, dict):
            owner[chance.choice(["", NASTY, "n", "epoch"])] = owner.pop(path[-1])
        elif how == 3:
            other = chance.choice(everywhere)
            found = value
            for key in other:
                found = found[key]
            owner[path[-1]] = copy.deepcopy(found)
        else:
            owner[path[-1]] = odd(chance)
    return value


def text(value, chance):
    """Return a document as JSON, now and then with damaged bytes."""
    data = json.dumps(document(value, chance)).encode()
    return damaged(data, chance) if chance.random() < 0.15 else data


def damaged(data, chance):
    """Return bytes with some flipped, cut, repeated, zeroed or put in."""
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        if not data:
            break
        at = chance.randrange(len(data))
        size = chance.choice([1, 1, 2, 4, 16, 64, 1_000])
        how = chance.randrange(6)
        if how == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            data[at : at + size] = chance.randbytes(min(size, len(data) - at))
        elif how == 2:
            del data[at : at + size]
        elif how == 3:
            data[at:at] = data[at : at + size]
        elif how == 4:
            data[at : at + size] = bytes(min(size, len(data) - at))
        elif chance.random() < 0.3:
            del data[at:]
        else:
            data[at : at + 4] = chance.choice(
                [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff"]
            )
    return bytes(data)


def word(chance):
    """Return what somebody may type."""
    value = odd(chance)
    made = value if isinstance(value, str) else json.dumps(value)
    return made.replace("\0", "")[:2_000]
