"""The lossy block transform: profiles, its integer definition, the native kernel, coding with a profile's tables."""
