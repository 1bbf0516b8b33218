def mbpp_inputs(task, inputs):
    """Restores the types that MBPP+'s inputs lost in JSON, as EvalPlus does (`mbpp_deserialize_inputs`)."""
    def deep(value):
        return tuple(deep(v) for v in value) if isinstance(value, list) else value
    def each(inp):
        return [tuple(v) for v in inp]
    if task in (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809):
        return [each(inp) for inp in inputs]
    if task in (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780):
        return [[each(lists) for lists in inp] for inp in inputs]
    if task in (75, 413, 444, 753):
        return [[each(inp[0])] + [inp[1]] for inp in inputs]
    if task in (106, 750):
        return [[inp[0]] + [tuple(inp[1])] for inp in inputs]
    if task == 115:
        return [[[set(item) if isinstance(item, list) and len(item) else {} for item in inp[0]]] for inp in inputs]
    if task == 124:
        return [(float(inp[0]), complex(inp[1])) for inp in inputs]
    if task in (250, 405, 446, 617, 720, 763, 808):
        return [[tuple(inp[0])] + [inp[1]] for inp in inputs]
    if task in (259, 401, 445):
        return [each([each(lists) for lists in inp]) for inp in inputs]
    if task == 278:
        return [each([[tuple(item) if isinstance(item, list) else item for item in inp[0]]]) for inp in inputs]
    if task == 307:
        return [[tuple(inp[0])] + [inp[1], inp[2]] for inp in inputs]
    if task == 722:
        return [[{k: tuple(v) for k, v in inp[0].items()}] + inp[1:] for inp in inputs]
    if task == 252:
        return [[complex(inp[0])] for inp in inputs]
    if task in (580, 615, 791):
        return [[deep(v) for v in inp] for inp in inputs]
    return inputs
