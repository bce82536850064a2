"""The report of a training run: its data (`story`), the pictures, the page and the folder they are written to.

Nothing here trains or evaluates; everything shown comes in as plain arrays and words.
"""
