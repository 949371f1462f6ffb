"""How people get from one step to another: paths, funnels, transitions, and how long it takes."""
