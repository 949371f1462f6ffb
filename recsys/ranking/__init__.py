"""The last word: candidates of all sources are put in order by a cross network (TFRS) over what each says of them."""
