"""The interactive page: one offline file with semantic zoom, from the whole model down to one multiplication.

`grouping` makes the tree of boxes, `layout` and `folding` say where they go, `payload` what the page carries,
`writing` puts the file together; `script/` and `zoom.css` are what runs in the browser, all of it our own.
"""

from tinygraph.drawing.page.picture_page import write_page as write_page
from tinygraph.drawing.page.writing import MOST_ELEMENTS as MOST_ELEMENTS
from tinygraph.drawing.page.writing import page as page
