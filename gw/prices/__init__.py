"""What tokens cost: dated prices of every model, and the cost of a request in whole nano-dollars."""
