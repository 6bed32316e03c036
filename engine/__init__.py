"""MOLERE on torch: the background engine. Runs headless; knows no Streamlit and nothing of curation."""
