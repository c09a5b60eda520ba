"""Documents to text: PDF, Word, Excel and mail.

The parsers are large and the documents come from strangers, so the parsing is done by a helper process
(`worker`), which `converter` starts when the first document is read, kills when one takes too long, and lets go when
it has nothing to do. The agent itself imports none of the parsers.
"""
