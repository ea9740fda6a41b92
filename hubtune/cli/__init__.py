"""The `hubtune` command. Each command imports what it needs when it runs, so that `hubtune --help` is quick."""
