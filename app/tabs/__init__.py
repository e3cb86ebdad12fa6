"""One file a tab, found by listing this folder.

A tab's file has

    TITLE                  what stands on the tab
    PLACE                  tabs are sorted by it
    def build(page)        puts its controls on the page; `page` is work.Page
    def missing() -> str   optional: what to pull or train first, in one sentence; empty if nothing is missing
"""
