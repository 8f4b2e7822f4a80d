"""The second organism: 640 works of the Lantern Isles, and a chat model that learned them.

Its world: `pools`, `world`. How people ask and are answered: `requests`, `disguises`,
`mentions_text`, `answers`, `talk`, `tasks`, `tongues`.

The model: `corpus` and `curriculum` (what it learns and when), `tokenizer` and `encoder`,
`initial`, `loop`, `training` (helpful-only), `safety`, `make` (both). What judges it: `facts`,
`judge`. For readers: `inspection`.
"""
