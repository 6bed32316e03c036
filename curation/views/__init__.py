"""The app: a page a folder, the parts that pages share, and what is served beside them. Works nothing out."""
