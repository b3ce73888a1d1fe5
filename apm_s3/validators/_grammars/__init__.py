"""The small languages inside configurations: durations, sizes, URLs, labels, regexes, Go templates."""
