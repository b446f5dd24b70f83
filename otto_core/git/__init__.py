"""All that knows Git: by the git program, by libgit2. Importing this imports neither."""
