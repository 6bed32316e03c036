"""What the outside may import: settings, files of a project, run and study, processes, intervals. Knows no torch."""
