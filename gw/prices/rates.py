"""What one model costs at one time: whole numbers inside, whole nano-dollars out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

#: Nano-dollars per token for each $/MTok: 1e9 / 1e6.
_NANO = 1000


@dataclass(slots=True, frozen=True)
class Prices:
    """Dollars per million tokens of each class, for prompts of more than ``above`` tokens (the whole prompt,
    whatever was read from or written to the provider's cache included).

    A class without a price of its own costs what the class it is a part of costs: reading and writing the
    cache what other input costs, an hour's write what a write costs, reasoning what other output costs.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    reasoning: Decimal | None = None
    above: int = 0

    def classes(self) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal, Decimal]:
        """Input, output, cache read, 5-minute write, 1-hour write, reasoning: each with its price."""
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write_5m is None else self.cache_write_5m
        longer = write if self.cache_write_1h is None else self.cache_write_1h
        reasoning = self.output if self.reasoning is None else self.reasoning
        return self.input, self.output, read, write, longer, reasoning


class Rates:
    """The prices of one model. Costs are exact: nothing is rounded but the result, once, half up.

    ``base`` is for every prompt that none of ``tiers`` is for; *all* tokens of a request, the answer's
    included, have the prices of its prompt's tier. ``per_request``: dollars for each request beside them;
    ``per_search``: for each search of the web that the provider makes for it.
    """

    __slots__ = ("_base", "_divisor", "_fixed", "_half", "_nano", "_search", "_tiers")

    def __init__(
        self,
        base: Prices,
        tiers: Iterable[Prices] = (),
        *,
        per_request: Decimal = Decimal(0),
        per_search: Decimal = Decimal(0),
    ) -> None:
        levels = [base, *sorted(tiers, key=lambda tier: tier.above)]
        per_token = [[_NANO * price for price in level.classes()] for level in levels]
        fixed, search = per_request * 10**9, per_search * 10**9
        # The largest part of a nano-dollar of which every price is a whole number.
        every = (fixed, search, *(price for level in per_token for price in level))
        places = max(map(_places, every))
        self._divisor: int = 10**places
        self._half: int = self._divisor // 2
        self._fixed = int(fixed * self._divisor)
        self._search = int(search * self._divisor)
        scaled = [tuple(int(price * self._divisor) for price in level) for level in per_token]
        self._base = scaled[0]
        #: The highest first.
        self._tiers = [(level.above, prices) for level, prices in zip(levels, scaled, strict=True)][:0:-1]
        self._set_nano()

    def times(self, factor: Decimal) -> Rates:
        """The same with ``factor`` (above 0) times the price of every token; what is paid for requests and
        searches stays as it is."""
        up, down = factor.as_integer_ratio()
        dearer = Rates.__new__(Rates)
        dearer._divisor = self._divisor * down
        dearer._half = dearer._divisor // 2
        dearer._fixed = self._fixed * down
        dearer._search = self._search * down
        dearer._base = tuple(price * up for price in self._base)
        dearer._tiers = [(above, tuple(price * up for price in prices)) for above, prices in self._tiers]
        dearer._set_nano()
        return dearer

    def cost(
        self,
        input_tokens: int,
        output_tokens: int,
        cache_read: int = 0,
        write_5m: int = 0,
        write_1h: int = 0,
        reasoning: int = 0,
        searches: int = 0,
    ) -> int:
        """Nano-dollars of one request. Classes are disjoint, but ``reasoning`` is a part of
        ``output_tokens``."""
        prices = self._base
        if self._tiers:
            prices = self._of(input_tokens + cache_read + write_5m + write_1h)
        exact = input_tokens * prices[0] + (output_tokens - reasoning) * prices[1] + self._fixed + self._half
        # Most requests have none of these: asking is cheaper than adding 0.
        if cache_read:
            exact += cache_read * prices[2]
        if write_5m:
            exact += write_5m * prices[3]
        if write_1h:
            exact += write_1h * prices[4]
        if reasoning:
            exact += reasoning * prices[5]
        if searches:
            exact += searches * self._search
        return exact // self._divisor

    def cost_of_prompt(self, tokens: int) -> int:
        """:meth:`cost` of a prompt without an answer, for the many models where that is a multiplication."""
        return tokens * self._nano if self._nano else self.cost(tokens, 0)

    def saved(
        self,
        layers: Mapping[str, int],
        input_tokens: int,
        output_tokens: int,
        cache_read: int = 0,
        write_5m: int = 0,
        write_1h: int = 0,
        reasoning: int = 0,
        searches: int = 0,
        *,
        counted: bool = True,
    ) -> dict[str, int]:
        """Nano-dollars that each of ``layers`` (name -> tokens that it took out, none below 0) has saved of
        one request. Together they are, to the nano-dollar, what the request would have cost with all of these
        tokens in its prompt, less what :meth:`cost` makes of the other counts.

        The longer prompt has a tier of its own, for the answer, too; within that a token taken out would have
        cost what a token of the prompt does on average (of an empty prompt: what input does). Where the
        prompt is not ``counted`` but an estimate, no other tier is concluded from it: that guess would be
        worth more than all the rest. Nothing is saved where a longer prompt is cheaper.
        """
        taken = sum(layers.values())
        if taken <= 0:
            return dict.fromkeys(layers, 0)
        prompt = input_tokens + cache_read + write_5m + write_1h
        prices = self._of(prompt + taken if counted else prompt)
        paid = input_tokens * prices[0] + cache_read * prices[2] + write_5m * prices[3] + write_1h * prices[4]
        rest = (
            (output_tokens - reasoning) * prices[1]
            + reasoning * prices[5]
            + searches * self._search
            + self._fixed
        )
        if not prompt:
            prompt, paid, rest = 1, 0, rest + taken * prices[0]
        # The average has the prompt's tokens below the line: everything is multiplied by them, and exact.
        divisor = prompt * self._divisor
        longer = (paid * (prompt + taken) + rest * prompt + divisor // 2) // divisor
        less = longer - self.cost(
            input_tokens, output_tokens, cache_read, write_5m, write_1h, reasoning, searches
        )
        return _shared(max(less, 0), layers, taken)

    def upper_bound(self, input_tokens: int, max_tokens: int, *, again: int = 0, searches: int = 0) -> int:
        """Nano-dollars that a request can cost at most: all of its prompt in the dearest class (as a rule a
        write of the cache for an hour), and an answer of ``max_tokens``. ``again``: tokens that the provider
        reads beside the prompt, between its own searches."""
        prices = self._of(input_tokens + again)
        dearest = max(prices[0], prices[2], prices[3], prices[4])
        written = max_tokens * max(prices[1], prices[5])
        beside = again * prices[0] + searches * self._search + self._fixed
        return (input_tokens * dearest + written + beside + self._half) // self._divisor

    def _set_nano(self) -> None:
        """Whole nano-dollars of a token of any prompt; 0: there is no such number."""
        whole, rest = divmod(self._base[0], self._divisor)
        self._nano = 0 if rest or self._tiers or self._fixed else whole

    def _of(self, prompt: int) -> tuple[int, ...]:
        for above, prices in self._tiers:
            if prompt > above:
                return prices
        return self._base

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rates) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self._divisor, self._fixed, self._base))

    def _key(self) -> tuple[object, ...]:
        return self._divisor, self._fixed, self._search, self._base, self._tiers


def _shared(whole: int, parts: Mapping[str, int], sum_of_parts: int) -> dict[str, int]:
    """``whole``, divided as ``parts`` are: no share is off by more than one, and their sum is ``whole``."""
    shares: dict[str, int] = {}
    given = reached = 0
    for name, part in parts.items():
        reached += part
        until = (2 * whole * reached + sum_of_parts) // (2 * sum_of_parts)
        shares[name] = until - given
        given = until
    return shares


def _places(value: Decimal) -> int:
    """Digits behind the point that ``value`` needs."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


#: For what costs nothing: a model on a machine of one's own, a simulated one.
FREE = Rates(Prices(Decimal(0), Decimal(0)))


def level(prices: Mapping[str, Decimal], above: int = 0) -> Prices:
    """``prices`` by the names of :class:`Prices`. Raises ``TypeError`` for other names and missing ones."""
    return Prices(**prices, above=above)
