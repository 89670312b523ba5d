"""How good an estimate is: distances, PCK, sides, lengths, and the tables of them."""
