"""What every source stands on: the rows it hands over, image paths and files, tables. Knows no list of sources."""
