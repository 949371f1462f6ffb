"""How people answer messages, when and where they do, when it is too much, and what campaigns bring."""
