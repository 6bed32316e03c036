"""The app: a page a folder, the parts that pages share, and what is served beside them. Works nothing out."""

import os

# Before pyarrow is imported, which looks once. Its own allocator (mimalloc) keeps memory for each thread that ever
# used it, and Streamlit makes a thread for each draw: ten people at work held 200 MB that nothing used, and more each
# minute. It may also crash where the thread that used it first has ended (apache/arrow#50908).
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
