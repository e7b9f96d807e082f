"""An OpenAI-compatible server: HTTP in front of one running batch. It needs the extra: pip install 'trimtab[server]'.

Nothing here is imported by `import trimtab` or by `trimtab --help`.
"""
