"""Drawing: a graph becomes DOT text, a picture or a page that zooms. Imported only when asked for."""
