"""Drawing: a graph becomes DOT text, a picture or a page that zooms. `tg.draw` is the door."""

from tinygraph.draw.drawing import Drawing as Drawing
from tinygraph.draw.front import draw as draw
