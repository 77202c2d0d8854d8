"""What a user asks for in one call, on files of any size: each job reads, works and writes, and can be
interrupted. A `Reporter` is told what a person should see; nothing here prints."""
