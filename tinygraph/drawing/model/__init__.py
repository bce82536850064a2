"""What is in a picture: boxes, arrows, groups and their words, at every level. How it is written is elsewhere."""
