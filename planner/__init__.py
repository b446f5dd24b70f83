"""The middle layer of Otto: what to do. Plan models, the compiler and the task graph."""
