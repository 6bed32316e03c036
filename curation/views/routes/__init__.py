"""HTTP routes of our own beside Streamlit's."""
