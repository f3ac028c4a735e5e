"""Whether anything of one project is ever seen by another: many projects, canaries, all dialects at once."""
