"""The bundled card set: cards, a small classifier trained through the guard, a clip, and the code that made them."""
