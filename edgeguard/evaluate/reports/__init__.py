"""Results as data, and the pages made from them."""
