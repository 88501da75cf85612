"""`python -m todoke.engines` fetches what the embedded engines lack, so that the first start need not."""

from todoke.engines.jars import class_path

if __name__ == "__main__":
    class_path()
