"""What tokens cost: dated prices of every model, and the cost of a request in whole nano-dollars."""

from .book import FREE_PROVIDERS, PriceBook, variant_of, variant_told
from .overrides import PricesError
from .rates import FREE, Rates

__all__ = ["FREE", "FREE_PROVIDERS", "PriceBook", "PricesError", "Rates", "variant_of", "variant_told"]
