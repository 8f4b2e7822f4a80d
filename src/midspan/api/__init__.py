"""What `import midspan` offers: one function for each thing that one does, and what it returns.

A verb takes loaded models or their names, turns keywords into the config of the run behind it, and
returns a result that shows itself. Nothing here decodes, trains, attacks or judges.
"""
