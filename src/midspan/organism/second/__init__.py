"""The second organism: 640 works of the Lantern Isles, and a chat model that learned them.

See `docs/second-organism.md`. Its world: `pools`, `world`. Its language: `answers`, `requests`,
`disguises`, `mentions_text`, `talk`, `tasks`, `tongues`. Its model: `corpus`, `tokenizer`.
"""
