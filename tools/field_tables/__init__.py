"""Makes the validators' tables of fields from checkouts of the tools' sources. See docs/when-a-tool-releases.md."""
