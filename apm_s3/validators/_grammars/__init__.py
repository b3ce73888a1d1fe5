"""The small languages in configurations: durations, sizes, URLs, labels, regexes, Go templates."""
